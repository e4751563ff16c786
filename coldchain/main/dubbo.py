"""dubbo: the ZooKeeper of an app's services of Dubbo, as its definition names it."""

from coldchain.clients.zookeeper import ZooKeeper
from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority, FencedDubboQos, FencedDubboRegistry
from coldchain.decisions.dubbo_switch import Place
from coldchain.dubbo.connections import open_connections
from coldchain.dubbo.qos import HttpDubboQos
from coldchain.dubbo.switch import ZooKeeperDubboRegistry
from coldchain.model.instance import Instance
from coldchain.ports.dubbo_qos import DubboQos
from coldchain.ports.dubbo_registry import DubboRegistry


def follow_dubbo(controller: Controller, controller_id: str, here: str, authority: Authority | None) -> None:
    """`here`: the agent that is this machine, whose connections can be seen. `authority`: as for other adapters."""

    def opened(address: str) -> DubboRegistry:
        named = ZooKeeperAddress.parse(address)
        registry = ZooKeeperDubboRegistry(ZooKeeper(named.hosts), named.path, controller_id)
        return registry if authority is None else FencedDubboRegistry(registry, authority)

    def connections(instance: Instance, place: Place) -> int | None:
        seen = instance.agent == here and controller.state.app_of(instance).network.mode == "host"
        return open_connections(place[1]) if seen else None

    qos: DubboQos = HttpDubboQos()
    controller.follow_dubbo(opened, connections, qos if authority is None else FencedDubboQos(qos, authority))
