"""What a reader can do about a refusal of Docker's, told by its words."""

HINTS = (
    ("no space left on device", "Free space on the disk where Docker keeps its data (`docker system df`)"),
    ("port is already allocated", "Stop who listens on that port, or leave `hostPort` at 0"),
    ("bind: address already in use", "Stop who listens on that port, or leave `hostPort` at 0"),
    ("address already in use", "See who has that address with `docker network inspect`"),
    ("bind source path does not exist", "Make that folder on the agent, or correct `hostPath`"),
    ("no such image", "Pull, load or build the image again"),
    ("executable file not found", "Correct `cmd` or `args`: the program is not in the image"),
    ("no such file or directory", "Correct `cmd` or `args`: the program is not in the image"),
    ("minimum memory", "Give more `mem`"),
)


def todo_for(reason: str, otherwise: str = "") -> str:
    """The first hint whose words stand in the reason, else the other one."""
    lowered = reason.lower()
    return next((hint for words, hint in HINTS if words in lowered), otherwise)
