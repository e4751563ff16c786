// Answers, a line of JSON for a line of JSON, what hessian.js makes of a value or of bytes; see hessian_peer.py.
"use strict";

const readline = require("readline");
const hessian = require("hessian.js");

// A described value as what hessian.js writes. `made`: lists, maps and objects so far, in the order they begin.
function build(described, made) {
  if (described === null || typeof described !== "object") return described;
  const [kind, content, more] = described;
  switch (kind) {
    case "int": return content;
    case "long": return { $class: "long", $: content };
    case "double": return { $class: "double", $: Number(content) };
    case "bytes": return Buffer.from(content, "hex");
    case "date": return new Date(content);
    case "reference": return made[content];
    case "list": {
      const list = [];
      made.push(list);
      for (const item of content) list.push(build(item, made));
      return list;
    }
    case "typed list": {
      const typed = { $class: content, $: [] };
      made.push(typed);
      for (const item of more) typed.$.push(build(item, made));
      return typed;
    }
    case "map": {
      const map = new Map();
      made.push(map);
      for (const [key, value] of content) map.set(build(key, made), build(value, made));
      return map;
    }
    case "typed map": {
      const typed = { $class: content, $: new Map() };
      made.push(typed);
      hessian.encoderV2.mapTypes = { ...hessian.encoderV2.mapTypes, [content]: true };
      for (const [key, value] of more) typed.$.set(build(key, made), build(value, made));
      return typed;
    }
    case "object": {
      const object = { $class: content, $: {} };
      made.push(object);
      for (const [name, value] of more) object.$[name] = build(value, made);
      return object;
    }
    default: throw new Error(`cannot build ${kind}`);
  }
}

// What hessian.js read, described. `seen`: number of each list, map and object.
function describe(value, seen) {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return ["number", Number.isFinite(value) ? value : String(value)];
  if (Buffer.isBuffer(value)) return ["bytes", value.toString("hex")];
  if (value instanceof Date) return ["date", value.getTime()];
  if (value instanceof Error) return ["error", value.message];
  if (typeof value.$ === "boolean") return value.$;
  if (value.$class === "java.util.HashMap" && value.$.$map) value = value.$;
  if (seen.has(value)) return ["reference", seen.get(value)];
  seen.set(value, seen.size);
  const entries = (map) => Array.from(map, ([key, item]) => [describe(key, seen), describe(item, seen)]);
  if (Array.isArray(value)) return ["list", value.map((item) => describe(item, seen))];
  if (value.$map) return ["map", entries(value.$map)];
  if (Array.isArray(value.$)) return ["typed list", value.$class, value.$.map((item) => describe(item, seen))];
  if (value.$.$map) return ["typed map", value.$class, entries(value.$.$map)];
  return ["object", value.$class, Object.entries(value.$).map(([name, item]) => [name, describe(item, seen)])];
}

function decoded(bytes, typed) {
  const decoder = new hessian.DecoderV2(bytes);
  const value = decoder.read(typed);
  if (decoder.byteBuffer.position() !== bytes.length) throw new Error("hessian.js left bytes unread");
  return describe(value, new Map());
}

function timed(seconds, work) {
  const begin = process.hrtime.bigint();
  const end = begin + BigInt(Math.round(seconds * 1e9));
  let count = 0;
  let now = begin;
  while (now < end) {
    for (let turn = 0; turn < 50; turn += 1) work();
    count += 50;
    now = process.hrtime.bigint();
  }
  return { count, seconds: Number(now - begin) / 1e9 };
}

function answer(request) {
  hessian.encoderV2.mapTypes = {};
  switch (request.ask) {
    case "encode": return hessian.encode(build(request.value, []), "2.0").toString("hex");
    case "decode": return decoded(Buffer.from(request.bytes, "hex"), true);
    case "catch": return decoded(Buffer.from(request.bytes, "hex"), false);
    case "time encode": {
      const value = build(request.value, []);
      return timed(request.seconds, () => hessian.encode(value, "2.0"));
    }
    case "time decode": {
      const bytes = Buffer.from(request.bytes, "hex");
      return timed(request.seconds, () => hessian.decode(bytes, "2.0"));
    }
    default: throw new Error(`cannot ${request.ask}`);
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let reply;
  try {
    reply = { answer: answer(JSON.parse(line)) };
  } catch (error) {
    reply = { error: String(error.message) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
});
