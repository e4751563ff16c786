// A provider or a consumer of Dubbo that is not ours, for rollouts: sofa-rpc-node over dubbo-remoting, as they come.
//   node dubbo_rollout.js provider ZOOKEEPER PORT VERSION
//   node dubbo_rollout.js consumer ZOOKEEPER          calls until its input ends, then says how that went
"use strict";

const { RpcClient } = require("sofa-rpc-node").client;
const { RpcServer } = require("sofa-rpc-node").server;
const { ZookeeperRegistry } = require("sofa-rpc-node").registry;
const remoting = require("dubbo-remoting");

const silent = { info() {}, warn() {}, error() {}, debug() {} };
const [, , role, zookeeper, port, version] = process.argv;
const registry = new ZookeeperRegistry({ logger: silent, address: zookeeper });
const common = { logger: silent, protocol: remoting, registry, group: "SOFA", version: "1.0.0" };
const services = ["com.shop.Stock", "com.shop.Prices"];
const WIDTH = 8;
const later = milliseconds => new Promise(done => setTimeout(done, milliseconds));

async function provide() {
  const server = new RpcServer({ ...common, port: Number(port), publishAddress: "127.0.0.1" });
  for (const interfaceName of services) {
    server.addService({ interfaceName }, {
      async version() { return version; },
      async wait(milliseconds) { await later(milliseconds); return version; },
    });
  }
  await server.start();
  await server.publish();
}

// No call is made a second time: each that fails is counted, and why.
async function consume() {
  const client = new RpcClient(common);
  const consumers = services.map(interfaceName => client.createConsumer({ interfaceName }));
  await Promise.all(consumers.map(consumer => consumer.ready()));
  const versions = {};
  const failures = [];
  let count = 0;
  let ended = false;
  process.stdin.on("end", () => { ended = true; }).resume();
  async function caller(number) {
    for (let turn = number; !ended; turn++) {
      const consumer = consumers[turn % consumers.length];
      const slow = turn % 25 === 0;
      try {
        const answer = await consumer.invoke(slow ? "wait" : "version", slow ? [200] : [], { responseTimeout: 10000 });
        versions[answer] = (versions[answer] || 0) + 1;
      } catch (error) {
        failures.push(String(error));
      }
      if (++count % 1000 === 0) console.log(JSON.stringify({ count }));
      await later(5);
    }
  }
  console.log(JSON.stringify({ count }));
  await Promise.all(Array.from({ length: WIDTH }, (_, number) => caller(number)));
  console.log(JSON.stringify({ count, versions, failures }));
  process.exit(0);
}

(role === "provider" ? provide() : consume()).catch(error => { console.error(error); process.exit(1); });
