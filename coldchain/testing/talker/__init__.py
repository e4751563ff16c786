"""A program that sends one byte there and back, again and again; talker.c says how it is called."""
