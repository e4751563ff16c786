-- What became of the requests at each endpoint, by service and instance: answers by class of status, what was not
-- answered, errors, latencies. Counts only grow, until the endpoint leaves the rotation and they are forgotten.
--
-- A request changes nothing but a table of its worker. A few times a second each worker adds what it counted to the
-- record of the endpoint in the shared memory, so a worker that is killed takes at most that moment with it. When the
-- memory is full nginx drops the record that was not used for longest, as a whole.

local ffi = require "ffi"
local new_table = require "table.new"
local tallies = require "coldchain.tallies"

local values = ngx.shared.coldchain_traffic
local control = ngx.shared.coldchain_control
local floor, max, min = math.floor, math.max, math.min

local M = {bounds = {}}

local FLUSH_SECONDS = 0.25
local LOCK_SECONDS = 1

-- The places of a record after its mark (place 0: the flush that changed it last); 1 to 5 are answers of 1xx to 5xx.
local UNANSWERED, CONSUMER_LEFT, ERRORS, SECONDS, LATENCIES = 6, 7, 8, 9, 9
M.UNANSWERED, M.CONSUMER_LEFT, M.ERRORS, M.SECONDS, M.LATENCIES = UNANSWERED, CONSUMER_LEFT, ERRORS, SECONDS, LATENCIES

local classes, places, record, record_bytes
local class_of_millisecond, slowest  -- nginx measures in milliseconds, so each has its class; what is above has the last
local changed = {}  -- counters that hold something which no record has yet
local flush_due = 0

-- `latency_bounds`: upper bounds of the latency classes in seconds; one more class is open.
function M.init(latency_bounds)
    M.bounds, classes = latency_bounds, #latency_bounds + 1
    places = LATENCIES + classes
    record = ffi.new("double[?]", places + 1)
    record_bytes = ffi.sizeof(record)
    slowest = floor(latency_bounds[#latency_bounds] * 1000 + 0.5)
    class_of_millisecond = ffi.new("uint8_t[?]", slowest + 1)
    local class = 1
    for millisecond = 0, slowest do
        if millisecond > latency_bounds[class] * 1000 + 0.5 then
            class = class + 1
        end
        class_of_millisecond[millisecond] = class
    end
end

-- What this worker counts of an instance in a service. `listed` is taken away with the endpoint.
function M.counter(service, instance)
    local counter = new_table(places, 8)
    counter.key, counter.service, counter.instance = service .. "\n" .. instance, service, instance
    counter.listed, counter.changed, counter.version = true, false, ""
    for place = 1, places do
        counter[place] = 0
    end
    return counter
end

local function add(counter, place, amount)
    counter[place] = counter[place] + amount
    if not counter.changed then
        counter.changed = true
        changed[#changed + 1] = counter
    end
end

-- An answer of the instance. `seconds` from the request sent to its end; nil when the consumer did not stay for that.
function M.answered(counter, status, seconds)
    local class = floor(status / 100)
    add(counter, class >= 1 and min(class, 5) or 5, 1)
    if class >= 5 or class < 1 then
        counter[ERRORS] = counter[ERRORS] + 1
    end
    if seconds then
        local millisecond = max(floor(seconds * 1000 + 0.5), 0)
        local latency = millisecond <= slowest and class_of_millisecond[millisecond] or classes
        counter[LATENCIES + latency] = counter[LATENCIES + latency] + 1
        counter[SECONDS] = counter[SECONDS] + seconds
    end
end

-- The instance refused, broke off, or stayed silent.
function M.unanswered(counter)
    add(counter, UNANSWERED, 1)
    counter[ERRORS] = counter[ERRORS] + 1
end

-- The instance began an answer and broke off.
function M.broken_off(counter, status)
    M.answered(counter, status)
    if status < 500 then
        counter[ERRORS] = counter[ERRORS] + 1
    end
end

-- The consumer went before there was an answer: nobody's error.
function M.consumer_left(counter)
    add(counter, CONSUMER_LEFT, 1)
end

-- A worker leaves the instance alone for a while.
function M.ejected(counter)
    tallies.add(tallies.key("ejections_total",
        "service=" .. tallies.quoted(counter.service) .. ",instance=" .. tallies.quoted(counter.instance)))
end

-- The record of an endpoint in `record`; all 0 when there is none.
local function read(key)
    local text = values:get(key)
    if text and #text == record_bytes then
        ffi.copy(record, text, record_bytes)
        return true
    end
    ffi.fill(record, record_bytes)
    return false
end

-- The mark of the last flush. It begins anew above all marks of an earlier life of the memory.
local function mark()
    return control:get("traffic") or 0
end

-- Adds to the records what this worker counted, when it is due (`time`: monotonic seconds) or `at_once`. One worker at
-- a time; who comes second tries again with its next tick. The mark moves last, so a reader may be told of a change
-- twice but never misses one.
function M.flush(time, at_once)
    if #changed == 0 or (time < flush_due and not at_once) or not control:safe_add("flush", true, LOCK_SECONDS) then
        return
    end
    flush_due = time + FLUSH_SECONDS
    local now = max(mark() + 1, floor(time * 1000))
    for _, counter in ipairs(changed) do
        if counter.listed then
            read(counter.key)
            record[0] = now
            for place = 1, places do
                record[place] = record[place] + counter[place]
            end
            values:set(counter.key, ffi.string(record, record_bytes))
        end
        for place = 1, places do
            counter[place] = 0
        end
        counter.changed = false
    end
    changed = {}
    control:safe_set("traffic", now)
    control:delete("flush")
end

-- For an endpoint that no worker lists any more.
function M.forget(service, instance)
    values:delete(service .. "\n" .. instance)
end

-- The record of an endpoint, to be read before the next call; nil when nothing was counted.
function M.record(service, instance)
    return read(service .. "\n" .. instance) and record or nil
end

local function pause(count)
    if count % 500 == 0 then
        ngx.sleep(0)  -- consumers' requests come in between
    end
end

-- Calls visit(service name, instance id) for every endpoint. Other requests go on meanwhile, so the tables may change.
function M.each_endpoint(services, visit)
    local names, count = {}, 0
    for name in pairs(services) do
        names[#names + 1] = name
    end
    for _, name in ipairs(names) do
        local instances = {}
        for instance in pairs(services[name] and services[name].counters or {}) do
            instances[#instances + 1] = instance
        end
        for _, instance in ipairs(instances) do
            visit(name, instance)
            count = count + 1
            pause(count)
        end
    end
end

local function sum(into)
    for class = 1, CONSUMER_LEFT do
        into.requests = into.requests + record[class]
    end
    into.errors = into.errors + record[ERRORS]
    for class = 1, classes do
        into.latencies[class] = (into.latencies[class] or 0) + record[LATENCIES + class]
    end
end

-- What was counted of every instance that has news since a mark, over all its services, and the mark of now.
-- A mark of another life of the memory is older than all there is.
function M.news(services, since)
    local now, fresh, instances = mark(), {}, {}
    if now == since then
        return now, instances
    end
    M.each_endpoint(services, function(service, instance)
        if not fresh[instance] and read(service .. "\n" .. instance) and record[0] > since then
            fresh[instance] = true
        end
    end)
    M.each_endpoint(services, function(service, instance)
        if fresh[instance] and read(service .. "\n" .. instance) then
            instances[instance] = instances[instance] or {requests = 0, errors = 0, latencies = {}}
            sum(instances[instance])
        end
    end)
    return now, instances
end

return M
