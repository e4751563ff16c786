"""What a reader can do about a refusal of Docker's, told by its words."""

HINTS = (
    ("plugins/coldchain.sock", "Start netd on that machine; `coldchain network doctor` there tells what else is wrong"),
    (
        'plugin "coldchain" not found',
        "Start netd on that machine: `coldchain network doctor` there tells why it is not",
    ),
    ("no available ipv4 addresses", "Its network is full: give the network another pool, or stop what uses it"),
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
