-- The entrance: `init` in the master (it reads every module before the workers lose their rights), then once a worker.

local control = require "coldchain.control"
local proxy = require "coldchain.proxy"
local workers = require "coldchain.workers"

local M = {}

-- `options`: configuration (digest of the rendered text), acknowledge_seconds, log_accesses.
function M.init(options)
    control.configuration = options.configuration
    control.acknowledge_seconds = options.acknowledge_seconds
    proxy.log_accesses = options.log_accesses
end

function M.worker()
    workers.start(proxy.busy)
end

return M
