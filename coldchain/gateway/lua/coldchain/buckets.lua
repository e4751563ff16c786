-- Token buckets over all workers, as one number each: when the bucket will be full again. Each request moves it by the
-- time of one token; a request is too much where that leads further than the whole bucket takes to fill.
--
-- Workers move it by adding, which is atomic. One that stands in the past (a full bucket) has to be lifted to now,
-- which one worker does while it holds a guard; the others' requests go on meanwhile. So whenever a bucket was full,
-- at most one request for each other worker may be given on top. When the memory is full the bucket that was asked for
-- least recently is dropped, and is full when it comes back.

local values = ngx.shared.coldchain_limits
local control = ngx.shared.coldchain_control
local incr, get, add, delete = values.incr, values.get, values.add, values.delete

local M = {}

local GUARD_SECONDS = 0.05  -- of a worker that was killed; others hold it for microseconds
local base = 0  -- times are counted from there: small numbers are exact ones

function M.start()
    control:safe_add("limits_base", math.floor(ngx.now()))
    base = control:get("limits_base") or 0
end

local function lift(key, before, time)
    local guard = "\n" .. key
    if not add(values, guard, true, GUARD_SECONDS) then
        return
    end
    if (get(values, key) or time) < time then
        incr(values, key, time - before)
    end
    delete(values, guard)
end

-- Takes a token. nil when there was one, and in how many seconds the bucket is full again; else in how many seconds there
-- will be one. `interval`: seconds of one token;
-- `full`: seconds of a whole bucket, never less.
function M.take(key, interval, full, now)
    local time = now - base
    local due = incr(values, key, interval, time)
    if not due then
        return nil, interval  -- not even room for one number: nobody is refused for that
    end
    local before = due - interval
    if before < time then
        lift(key, before, time)
        return nil, interval
    end
    local wait = due - time - full
    if wait > 1e-6 then
        incr(values, key, -interval)
        return wait
    end
    return nil, due - time
end

function M.give_back(key, interval)
    incr(values, key, -interval)
end

return M
