"""The test application: a small static HTTP server in C that starts, answers, stops and fails as a test wants it.

What lives here: its C source (settings.h lists all it understands), `build` (source → binary) and `image`
(binary → Docker image, without any registry). What must not: anything that sends it load, that is `testing.load`.
The binary goes into images and labs; its records (see RECORDS) go to `testing.load.accounting`.
"""
