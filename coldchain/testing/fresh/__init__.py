"""A fresh Debian of its own, in which the whole way of a newcomer is gone: clone, `bin/demo`, `bin/test`, and again.

What lives here: `machine` (makes the root by debootstrap and runs commands in it), `inventory` (everything that could
be left behind, before and after), and the round itself. What must not: addresses of package registries; the machine's
own settings for them are used. It runs inside the sandbox, with a way out, which sweeps all of it however it ends.
"""
