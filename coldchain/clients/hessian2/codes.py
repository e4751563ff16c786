"""The bytes that values begin with. A name ending in `_ZERO` is the byte of zero among those that hold a number."""

NULL, TRUE, FALSE = 0x4E, 0x54, 0x46
INT, INT_DIRECT_ZERO, INT_BYTE_ZERO, INT_SHORT_ZERO = 0x49, 0x90, 0xC8, 0xD4
LONG, LONG_INT, LONG_DIRECT_ZERO, LONG_BYTE_ZERO, LONG_SHORT_ZERO = 0x4C, 0x59, 0xE0, 0xF8, 0x3C
DOUBLE, DOUBLE_NOUGHT, DOUBLE_ONE, DOUBLE_BYTE, DOUBLE_SHORT = 0x44, 0x5B, 0x5C, 0x5D, 0x5E
DOUBLE_THOUSANDTHS = 0x5F
"""The specification has a float here. All that is in use, Dubbo's library first, has thousandths in four bytes."""
DATE, DATE_MINUTES = 0x4A, 0x4B
STRING, STRING_PART, STRING_DIRECT, STRING_SHORT = 0x53, 0x52, 0x00, 0x30
BINARY, BINARY_PART, BINARY_DIRECT, BINARY_SHORT = 0x42, 0x41, 0x20, 0x34
LIST_OPEN_TYPED, LIST_TYPED, LIST_OPEN, LIST, LIST_DIRECT_TYPED, LIST_DIRECT = 0x55, 0x56, 0x57, 0x58, 0x70, 0x78
MAP_TYPED, MAP, END = 0x4D, 0x48, 0x5A
CLASS, OBJECT, OBJECT_DIRECT = 0x43, 0x4F, 0x60
REFERENCE = 0x51
DIRECT_LISTS, DIRECT_OBJECTS = 8, 16
"""How many lengths of a list, and how many classes, have a byte of their own."""
PART_UNITS = 0x8000
"""So much of a string, in UTF-16 units, or of binary data, in bytes, goes in one piece."""
