-- The entrance: `init` in the master (it reads every module before the workers lose their rights), then once a worker.

local control = require "coldchain.control"
local proxy = require "coldchain.proxy"
local shedding = require "coldchain.shedding"
local traffic = require "coldchain.traffic"
local workers = require "coldchain.workers"

local M = {}

-- `options`: configuration (digest of the rendered text), acknowledge_seconds, log_accesses,
-- latency_bounds (seconds), open_requests_max and lag_seconds_max of a worker before it refuses some.
function M.init(options)
    control.configuration = options.configuration
    control.acknowledge_seconds = options.acknowledge_seconds
    proxy.log_accesses = options.log_accesses
    shedding.open_requests_max = options.open_requests_max
    shedding.lag_seconds_max = options.lag_seconds_max
    traffic.init(options.latency_bounds)
end

function M.worker()
    workers.start(proxy.busy)
end

return M
