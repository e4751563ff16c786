-- Who sends a request, as far as it was asked.

local M = {}

-- The name of the consumer, nil when nobody is known.
function M.of(_)
    return nil
end

return M
