-- Counts that only grow, by metric and labels, over all workers: what was refused and why, what limits were asked for.
--
-- A request changes a table of its worker and nothing else; a few times a second each worker adds what it counted to
-- the shared memory, so a worker that is killed takes at most that moment with it. When the memory is full nginx drops
-- the count that grew least recently.

local values = ngx.shared.coldchain_tallies
local format, gsub, match = string.format, string.gsub, string.match

local M = {}

local FLUSH_SECONDS = 0.25
local ESCAPES = {["\\"] = "\\\\", ["\""] = "\\\"", ["\n"] = "\\n"}

local counted = {}  -- what no other worker sees yet
local flush_due = 0

-- A text as the value of a label.
function M.quoted(text)
    return '"' .. gsub(text, '[\\"\n]', ESCAPES) .. '"'
end

-- `labels`: as Prometheus writes them, without the braces.
function M.key(metric, labels)
    return metric .. "{" .. labels .. "}"
end

function M.add(key)
    counted[key] = (counted[key] or 0) + 1
end

-- As of the last flush of each worker.
function M.get(key)
    return values:get(key) or 0
end

-- `time`: monotonic seconds.
function M.flush(time, at_once)
    if time < flush_due and not at_once then
        return
    end
    flush_due = time + FLUSH_SECONDS
    for key, count in pairs(counted) do
        values:incr(key, count, 0)
        counted[key] = nil
    end
end

-- All keys, by metric.
function M.keys()
    local keys = {}
    for _, key in ipairs(values:get_keys(0)) do
        local metric = match(key, "^[^{]+")
        keys[metric] = keys[metric] or {}
        table.insert(keys[metric], key)
    end
    return keys
end

-- The lines of a metric's keys. `stands(key)` is false for one of what is gone, which is forgotten.
function M.lines(keys, prefix, stands)
    local lines = {}
    for _, key in ipairs(keys or {}) do
        if stands(key) then
            lines[#lines + 1] = format("%s%s %.0f\n", prefix, key, values:get(key) or 0)
        else
            values:delete(key)
        end
    end
    return lines
end

return M
