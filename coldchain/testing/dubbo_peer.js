// A provider and a consumer of Dubbo that are not ours: sofa-rpc-node over dubbo-remoting; see dubbo_peer.py.
// Its first line says where it serves; from then on it answers a line of JSON for a line of JSON.
"use strict";

const readline = require("readline");
const { RpcClient } = require("sofa-rpc-node").client;
const { RpcServer } = require("sofa-rpc-node").server;
const { ZookeeperRegistry } = require("sofa-rpc-node").registry;
const remoting = require("dubbo-remoting");

const silent = { info() {}, warn() {}, error() {}, debug() {} };
const [, , interfaceName, version, group, zookeeper] = process.argv;
const registry = zookeeper ? new ZookeeperRegistry({ logger: silent, address: zookeeper }) : undefined;

// What the other side calls; `seen` remembers the last arguments, as they came.
let seen = [];
const methods = {
  async echo(value) { seen = [value]; return value; },
  async add(one, two) { seen = [one, two]; return one + two; },
  async nothing() { return null; },
  async zero() { return 0; },
  async large(length) { return "🥦".repeat(length); },
  async object() { return { $class: "com.shop.Item", $: { id: 7, name: "kohlrabi", fresh: true } }; },
  async raise(words) { return new Error(words); },
  async fail(words) { throw new Error(words); },
  async wait(milliseconds) { await new Promise(done => setTimeout(done, milliseconds)); return milliseconds; },
  async $invoke(method, types, values) { seen = [method, types, values]; return methods[method](...values); },
};

const asked = {
  async seen() { return seen; },

  async call({ address, method, values, timeout }) {
    const consumer = consumerOf(address);
    await consumer.ready();
    return consumer.invoke(method, values, { responseTimeout: timeout });
  },

  async beat({ address }) {
    const consumer = consumerOf(address);
    await consumer.ready();
    const connection = await consumer.getConnection({ meta: {}, options: {} });
    const answered = new Promise(done => connection._decoder.once("heartbeat_ack", done));
    connection._lastActiveTime = 0;
    connection.heartbeat();
    await answered;
    return true;
  },

  // `count` calls of echo, `width` at a time: how long all took, and each, in milliseconds.
  async time({ address, count, width, value }) {
    const consumer = consumerOf(address);
    await consumer.ready();
    const took = [];
    let left = count;
    async function caller() {
      while (left-- > 0) {
        const began = process.hrtime.bigint();
        await consumer.invoke("echo", [value], { responseTimeout: 30000 });
        took.push(Number(process.hrtime.bigint() - began) / 1e6);
      }
    }
    const began = process.hrtime.bigint();
    await Promise.all(Array.from({ length: width }, caller));
    return { took, milliseconds: Number(process.hrtime.bigint() - began) / 1e6 };
  },
};

const client = new RpcClient({ logger: silent, protocol: remoting, registry, group, version });
client.on("error", () => {}); // of a connection: whoever calls over it is told

// Of the provider at an address, or without one of all that the registry has.
function consumerOf(address) {
  const serverHost = address ? `dubbo://${address}?serialization=hessian2` : undefined;
  return client.createConsumer({ interfaceName, serverHost });
}

async function main() {
  const options = { logger: silent, protocol: remoting, registry, group, version };
  const server = new RpcServer({ ...options, port: 0, publishAddress: "127.0.0.1" });
  server.addService({ interfaceName }, methods);
  server.on("error", () => {}); // its consumers are told
  await server.start();
  if (registry) await server.publish();
  console.log(JSON.stringify(server.publishPort));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    asked[request.ask](request)
      .then(answer => ({ number: request.number, answer }), error => ({ number: request.number, error: String(error) }))
      .then(reply => console.log(JSON.stringify(reply)));
  }
  process.exit(0);
}

main();
