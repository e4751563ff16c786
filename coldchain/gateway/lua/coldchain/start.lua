-- The entrance: `init` in the master (it reads every module before the workers lose their rights), then once a worker.

local api_key = require "coldchain.api_key"
local client = require "coldchain.client"
local control = require "coldchain.control"
local firewall = require "coldchain.firewall"
local gray = require "coldchain.gray"
local jit_options = require "jit.opt"
local proxy = require "coldchain.proxy"
local shedding = require "coldchain.shedding"
local traffic = require "coldchain.traffic"
local workers = require "coldchain.workers"

local M = {}

-- `options`: configuration (digest of the rendered text), acknowledge_seconds, log_accesses,
-- latency_bounds (seconds), open_requests_max and lag_seconds_max of a worker before it refuses some, trusted_proxies (networks),
-- mark_trusted (whether anybody's mark is believed), firewall (library and rules of ModSecurity, nil where there is none).
function M.init(options)
    -- What a request does is compiled as a whole: LuaJIT's 500 constants are too few for that, and what is compiled in
    -- pieces, or not at all, costs up to half as much again.
    jit_options.start("maxirconst=4000")
    control.configuration = options.configuration
    control.acknowledge_seconds = options.acknowledge_seconds
    proxy.log_accesses = options.log_accesses
    api_key.mask_query = options.log_accesses
    client.init(options.trusted_proxies)
    gray.mark_trusted = options.mark_trusted
    shedding.open_requests_max = options.open_requests_max
    shedding.lag_seconds_max = options.lag_seconds_max
    traffic.init(options.latency_bounds)
    firewall.init(options.firewall)
    workers.init()
end

function M.worker()
    workers.start(proxy.busy)
end

return M
