"""The operations of pools and networks of containers."""

from coldchain.documents.openapi.operation import JSON, Answer, Body, Link, Operation, found

_POOL_LINKS = (
    Link("changePool", {"pool": "$response.body#/name"}),
    Link("removePool", {"pool": "$response.body#/name"}),
)
_NETWORK_LINKS = (
    Link("showNetwork", {"network": "$response.body#/name"}),
    Link("removeNetwork", {"network": "$response.body#/name"}),
)

NETWORKS: tuple[Operation, ...] = (
    Operation(
        "listPools",
        "GET",
        "/v1/pools",
        "List pools",
        found(
            "PoolList", "With how much of each is taken.", Link("showPool", {"pool": "$response.body#/pools/0/name"})
        ),
    ),
    Operation(
        "addPool",
        "POST",
        "/v1/pools",
        "Add a pool",
        {201: Answer("It can be given from.", {JSON: "PoolAnswer"}, links=_POOL_LINKS)},
        body=Body(("AddPool",)),
        fails=(400, 409, 413, 422),
        more="Its addresses are nobody else's: not of another pool, nor of the machines' own networks.",
    ),
    Operation(
        "showPool",
        "GET",
        "/v1/pools/{pool}",
        "Show a pool",
        found("PoolDetail", "With who has what of it.", *_POOL_LINKS),
        fails=(404,),
    ),
    Operation(
        "changePool",
        "PATCH",
        "/v1/pools/{pool}",
        "Change a pool",
        found("PoolAnswer", "As it is now.", *_POOL_LINKS),
        body=Body(("ChangePool",), required=False),
        fails=(400, 404, 409, 413, 422),
        more="Of one that is disabled no new address is given; those given stay.",
    ),
    Operation(
        "removePool",
        "DELETE",
        "/v1/pools/{pool}",
        "Remove a pool",
        {204: Answer("It is gone.")},
        fails=(404, 409),
    ),
    Operation(
        "listNetworks",
        "GET",
        "/v1/networks",
        "List networks of containers",
        found(
            "ContainerNetworks",
            "With how many containers are in each.",
            Link("showNetwork", {"network": "$response.body#/networks/0/name"}),
        ),
    ),
    Operation(
        "createNetwork",
        "POST",
        "/v1/networks",
        "Create a network of containers",
        {201: Answer("Every machine makes it.", {JSON: "ContainerNetworkAnswer"}, links=_NETWORK_LINKS)},
        body=Body(("CreateContainerNetwork",)),
        fails=(400, 409, 413, 422),
    ),
    Operation(
        "showNetwork",
        "GET",
        "/v1/networks/{network}",
        "Show a network of containers",
        found("ContainerNetworkDetail", "With who is in it.", *_NETWORK_LINKS[1:]),
        fails=(404,),
    ),
    Operation(
        "removeNetwork",
        "DELETE",
        "/v1/networks/{network}",
        "Remove a network of containers",
        {204: Answer("Every machine removes it.")},
        fails=(404, 409),
    ),
    Operation(
        "checkNetwork",
        "GET",
        "/v1/network/check",
        "Check the addresses of the network",
        found("NetworkFindings", "What is wrong, and who puts it right."),
    ),
    Operation(
        "repairNetwork",
        "POST",
        "/v1/network/check",
        "Put right what a check finds",
        found("NetworkRepaired", "What was put right; the rest each machine does by itself."),
        fails=(409,),
    ),
)
