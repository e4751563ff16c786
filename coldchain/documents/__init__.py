"""Every text form of the vocabulary, in and out.

What lives here: decoding and encoding of app definitions (Marathon's JSON, YAML), of stored documents with their
schema version, of API answers and events; the validator that reports all errors of a document at once.
What must not: decisions, I/O.
Text comes from `api`, `cli` and the store; nouns of `model` go out, and back.
"""
