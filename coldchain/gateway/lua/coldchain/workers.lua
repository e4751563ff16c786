-- What the workers tell each other: which commit each of them works by, and how many requests it has open at
-- endpoints that get no new ones. One line per worker in the shared memory, under its process id. Beside it stands what
-- is open at all endpoints, told less often since nothing waits for it.

local ffi = require "ffi"
local buckets = require "coldchain.buckets"
local connections = require "coldchain.connections"
local cjson = require "cjson.safe"
local ejection = require "coldchain.ejection"
local held = require "coldchain.counts"
local rotation = require "coldchain.rotation"
local shares = require "coldchain.shares"
local shedding = require "coldchain.shedding"
local store = require "coldchain.store"
local streams = require "coldchain.streams"
local tallies = require "coldchain.tallies"
local traffic = require "coldchain.traffic"

local control = ngx.shared.coldchain_control
local format, match = string.format, string.match

ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } coldchain_time;
int clock_gettime(int clock, coldchain_time *time);
int getppid(void);
]]

local M = {draining = false}

local TICK_SECONDS = 0.02
local WATCH_SECONDS = 0.003
local POLL_SECONDS = 0.001
local OPEN_SECONDS = 0.25
local OTHERS_SECONDS = 1
local GOODBYE_SECONDS = 1
local CLOCK_MONOTONIC = 1
local time = ffi.new("coldchain_time")
local own = {open_due = 0, others_due = 0, goodbye_due = 0}  -- pid, started, name, published, open, ejected, births

-- Seconds that never jump, the same ones for every process of this machine.
function M.monotonic()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function M.master()
    return ffi.C.getppid()
end

-- When a process started, in clock ticks since boot: with it a process id means one process for ever. nil: none such.
local function started(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    if not file then
        return nil
    end
    local text = file:read("*a") or ""
    file:close()
    local state, rest = match(text, "^.*%) (%a) (.*)$")
    if not state or state == "Z" or state == "X" then
        return nil
    end
    local index = 3
    for field in string.gmatch(rest, "%S+") do
        index = index + 1
        if index == 22 then
            return field
        end
    end
end

-- One text holds both, so that nobody sees a new commit beside old counts.
local function publish()
    local text = format("%s %.0f %.0f %.0f %s", own.started or "-", store.memory(), rotation.sequence, rotation.revision,
        cjson.encode(rotation.draining()))
    if text == own.published then
        return
    end
    local ok, problem = control:safe_set(own.name, text)
    if ok then
        own.published = text
    else
        ngx.log(ngx.ERR, "cannot tell the other workers what this one works by: ", problem)
    end
end

local function publish_open(now)
    if now < own.open_due then
        return
    end
    own.open_due = now + OPEN_SECONDS
    for kind, counts in pairs({open = rotation.open(), ejected = ejection.now(), streams = streams.draining()}) do
        local text = cjson.encode(counts)
        if text ~= own[kind] and control:safe_set(kind .. ":" .. own.pid, text) then
            own[kind] = text
        end
    end
end

-- By which a worker counts what it has open: its process id alone may be given again.
local function name_of(pid, since)
    return pid .. "-" .. since
end

-- Whose counts this worker adds to its own: asked anew when a worker was started, and while anything is counted now and
-- then, since one may have gone without another in its place.
local function follow_others(now)
    local births = control:get("births")
    if births == own.births and not (held.used and now >= own.others_due) then
        return
    end
    own.births, own.others_due = births, now + OTHERS_SECONDS
    local names = {}
    for _, worker in ipairs(M.all()) do
        names[#names + 1] = worker.name
    end
    held.follow(name_of(own.pid, own.started or "-"), names)
end

-- What is to end has been ended before anybody hears that this worker works by a rotation which says so.
local function cut_streams()
    local all = control:get("cutting") or false
    if rotation.cuts or all ~= streams.all then
        rotation.cuts, streams.all = false, all
        streams.draining()
    end
end

-- Takes over what is new and says so, and only then adds up its counts: who reads that this worker works by a commit
-- knows that it counts nothing more of what the commit took away.
function M.tick()
    M.draining = control:get("draining") or false
    shares.follow()  -- before the rotation that came with them
    if rotation.sync() then
        cut_streams()
        publish()
    end
    local now = M.monotonic()
    follow_others(now)
    traffic.flush(now)
    tallies.flush(now)
    publish_open(now)
end

-- In the timer of `follow`, not wherever a tick is asked for: nginx must not be in the middle of a request.
local function say_goodbye(now)
    if control:get("goodbye") and now >= own.goodbye_due then
        own.goodbye_due = now + GOODBYE_SECONDS  -- to those that came since, too
        connections.say_goodbye()
    end
end

-- `busy` tells whether the worker has requests: one that is told to exit follows the rotation until the last one ends.
local function follow(_, busy)
    while true do
        local ok, problem = pcall(M.tick)
        if not ok then
            ngx.log(ngx.ERR, "cannot follow the rotation: ", problem)
        end
        say_goodbye(M.monotonic())
        if ngx.worker.exiting() and not busy() then
            traffic.flush(M.monotonic(), true)
            tallies.flush(M.monotonic(), true)
            return
        end
        local slept_at = M.monotonic()
        ngx.sleep(TICK_SECONDS)
        shedding.follow(M.monotonic() - slept_at - TICK_SECONDS)
    end
end

-- A commit need not wait for the next tick: to look whether there is one costs next to nothing.
local function watch(_, busy)
    while not ngx.worker.exiting() or busy() do
        ngx.sleep(WATCH_SECONDS)
        if rotation.behind() then
            local ok, problem = pcall(M.tick)
            if not ok then
                ngx.log(ngx.ERR, "cannot follow the rotation: ", problem)
            end
        end
    end
end

-- Makes itself known before it reads: a commit after that waits for it, one before that is read.
function M.start(busy)
    local pid = ngx.worker.pid()
    own.pid, own.started = pid, started(pid)
    own.name = "worker:" .. pid
    math.randomseed(pid + ngx.now() * 1000)
    assert(control:safe_set(own.name, format("%s %.0f 0 0 {}", own.started or "-", store.memory())))
    control:incr("births", 1, 0)
    buckets.start()
    M.tick()
    assert(ngx.timer.at(0, follow, busy))
    assert(ngx.timer.at(0, watch, busy))
end

-- Every live worker on this memory: {pid, name, sequence, revision, in_flight}. Those that are gone, however they went, are forgotten.
function M.all()
    local all = {}
    for _, name in ipairs(control:get_keys(0)) do
        local pid = match(name, "^worker:(%d+)$")
        local text = pid and control:get(name)
        if text then
            local since, memory, sequence, revision, counts = match(text, "^(%S+) (%d+) (%d+) (%d+) (.*)$")
            -- Where this worker cannot even see itself, /proc says nothing of the others: all count as alive.
            if own.started and started(pid) ~= since then
                control:delete(name)
                control:delete("open:" .. pid)
                control:delete("ejected:" .. pid)
                control:delete("streams:" .. pid)
                held.forget(name_of(pid, since))
            elseif tonumber(memory) == store.memory() then
                all[#all + 1] = {
                    pid = tonumber(pid), name = name_of(pid, since), sequence = tonumber(sequence),
                    revision = tonumber(revision), in_flight = cjson.decode(counts),
                }
            end
        end
    end
    return all
end

-- Over these workers, by service and instance: `open` requests, `streams` where there are no new ones, or how many of the workers have `ejected` it.
function M.sum(kind, all)
    local counts = {}
    for _, worker in ipairs(all) do
        for service, instances in pairs(cjson.decode(control:get(kind .. ":" .. worker.pid) or "{}")) do
            counts[service] = counts[service] or {}
            for instance, open in pairs(instances) do
                counts[service][instance] = (counts[service][instance] or 0) + open
            end
        end
    end
    return counts
end

-- Waits until every live worker works by a commit. Returns the process ids of those that did not in time.
function M.await(sequence, seconds)
    local deadline = M.monotonic() + seconds
    while true do
        M.tick()
        local behind = {}
        for _, worker in ipairs(M.all()) do
            if worker.sequence < sequence then
                behind[#behind + 1] = worker.pid
            end
        end
        if #behind == 0 or M.monotonic() > deadline then
            return behind
        end
        ngx.sleep(POLL_SECONDS)
    end
end

return M
