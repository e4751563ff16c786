"""OpenAPI: what the API answers and reads, described by nouns; the document and the page that are made of them.

What lives here: the shape of every answer as a noun (`answers`, `own_answers`), the schemas made of nouns (`schemas`),
the table of operations (`marathon`, `own`, in the terms of `operation`), and what is made of them: `document`, `page`.
What must not: handlers. The answers themselves are made in `documents` and `api`; tests hold each to its shape here.
"""
