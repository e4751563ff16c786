"""All the requests, by their classes."""

from coldchain.testing.smuggling.encodings import lengths_beside_encodings, obfuscated_encodings
from coldchain.testing.smuggling.heads import headers, hosts, pipelines, request_lines
from coldchain.testing.smuggling.lengths import wrong_chunks, wrong_lengths
from coldchain.testing.smuggling.vector import Vector


def vectors() -> list[Vector]:
    return [
        *obfuscated_encodings(),
        *lengths_beside_encodings(),
        *wrong_lengths(),
        *wrong_chunks(),
        *request_lines(),
        *hosts(),
        *headers(),
        *pipelines(),
    ]
