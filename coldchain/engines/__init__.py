"""Where tasks run: one file or package per engine, each an adapter of `ports.engine.Engine`.

`local` makes one offer out of this machine and hands tasks to runners; `fake` offers agents that run nothing.
Engines know each other not at all, and runners only through the port; `main` hands them over.
"""
