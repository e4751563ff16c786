-- The certificates that consumers are shown, by the name that they ask for (SNI). Parsed when they are taken over; a
-- handshake only looks one up.

local ssl = require "ngx.ssl"
local lower, find, sub = string.lower, string.find, string.sub

local M = {}

local known = {}     -- name → {domains, chain, key, default}
local by_domain = {}  -- domain or `*.domain` → the one shown there
local default

-- Of several for one domain the first by name is shown, at every gateway alike.
local function index()
    local names = {}
    for name in pairs(known) do
        names[#names + 1] = name
    end
    table.sort(names)
    by_domain, default = {}, nil
    for _, name in ipairs(names) do
        local one = known[name]
        for _, domain in ipairs(one.domains) do
            by_domain[domain] = by_domain[domain] or one
        end
        default = default or (one.default and one)
    end
end

function M.load(name, document)
    known[name] = nil
    if document then
        local chain, problem = ssl.parse_pem_cert(document.chain)
        local key
        if chain then
            key, problem = ssl.parse_pem_priv_key(document.key)
        end
        if key then
            known[name] = {
                domains = document.domains, chain = chain, key = key, default = document.default == true,
                text = document.chain,
            }
        else
            ngx.log(ngx.ERR, "certificate ", name, " cannot be used: ", problem)
        end
    end
    index()
end

-- Those that can be shown, as PEM without their keys: {{name, chain}}.
function M.shown()
    local shown = {}
    for name, one in pairs(known) do
        shown[#shown + 1] = {name = name, chain = one.text}
    end
    return shown
end

local function find_certificate(asked)
    if not asked then
        return default
    end
    local domain = lower(asked)
    local dot = find(domain, ".", 1, true)
    return by_domain[domain] or (dot and by_domain["*" .. sub(domain, dot)]) or default
end

-- In a handshake. Without a certificate for what is asked there is none: better no connection than somebody else's name.
function M.serve()
    local one = find_certificate(ssl.server_name())
    if not one then
        return ngx.exit(ngx.ERROR)
    end
    local ok, problem = ssl.clear_certs()
    if ok then
        ok, problem = ssl.set_cert(one.chain)
    end
    if ok then
        ok, problem = ssl.set_priv_key(one.key)
    end
    if not ok then
        ngx.log(ngx.ERR, "certificate cannot be shown: ", problem)
        return ngx.exit(ngx.ERROR)
    end
end

return M
