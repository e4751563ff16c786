"""`python -m coldchain` is `coldchain`."""

from coldchain.main.command import main

if __name__ == "__main__":
    main()
