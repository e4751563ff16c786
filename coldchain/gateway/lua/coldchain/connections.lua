-- Connections that end although neither side ends them: that of a proxied request to its instance, and consumers' idle
-- ones.
--
-- Lua has no way to end another request. But a connection whose socket is shut down looks to nginx like one that the
-- instance has closed, which it handles every day: the consumer gets what is still on its way, and then the end. It is
-- the connection to the instance and not the consumer's, since that may carry other requests (HTTP/2).
--
-- Which socket it is stands in nginx's own structures. Their first fields, which are all that is read, are the same in
-- every nginx since 1.0. Nothing relies on that: they are read by a call that fails where there is no such memory, and
-- the socket must lead to the instance.

local ffi = require "ffi"
local networks = require "coldchain.networks"

ffi.cdef [[
typedef struct { void *base; size_t length; } coldchain_memory;
long process_vm_readv(int pid, const coldchain_memory *to, unsigned long to_count, const coldchain_memory *from,
    unsigned long from_count, unsigned long flags);
int getpeername(int socket, void *address, unsigned int *length);
int shutdown(int socket, int how);
extern void *ngx_cycle;
void ngx_close_idle_connections(void *cycle);
char *strerror(int number);
]]

local M = {}

local C = ffi.C
local HTTP = 0x50545448        -- how each request of nginx begins
local UPSTREAM = 9             -- the word of a request that leads to its upstream
local CONNECTION = 2           -- that of an upstream that leads to its connection
local SOCKET = 3               -- that of a connection that begins with its socket
local IPV4, IPV6 = 2, 10
local BOTH_WAYS = 2

local word = ffi.new("uint64_t[1]")
local to, from = ffi.new("coldchain_memory[1]"), ffi.new("coldchain_memory[1]")
local name, length = ffi.new("uint8_t[128]"), ffi.new("unsigned int[1]")

-- The word at a place of nginx's memory; nil where there is none.
local function read(base, index)
    to[0].base, to[0].length = word, 8
    from[0].base, from[0].length = ffi.cast("void *", base + 8 * index), 8
    if C.process_vm_readv(ngx.worker.pid(), to, 1, from, 1, 0) ~= 8 then
        return nil
    end
    return word[0]
end

-- Where a socket leads: the bytes of its address, and its port.
local function peer_of(socket)
    length[0] = ffi.sizeof(name)
    if C.getpeername(socket, name, length) ~= 0 then
        return nil
    end
    local family = name[0] + 256 * name[1]
    local port = 256 * name[2] + name[3]
    if family == IPV4 then
        return ffi.string(name + 4, 4), port
    elseif family == IPV6 then
        return networks.plain(ffi.string(name + 8, 16)), port
    end
end

-- Ends what the instance at that address answers to the request of that key. True; or nil where there is no connection
-- (any more), and the problem where nginx's structures are not as they should be.
function M.finish(key, address, port)
    local request = ffi.cast("uint64_t", key)
    local begins = read(request, 0)
    if not begins or begins % 4294967296ULL ~= HTTP then
        return nil, "it is no request of nginx"
    end
    local upstream = read(request, UPSTREAM)
    local connection = upstream and read(upstream, CONNECTION)
    if connection == 0 then
        return nil
    end
    local socket = connection and read(connection, SOCKET)
    if not socket then
        return nil, "nginx's structures cannot be read, or are laid out in another way"
    end
    socket = tonumber(socket % 4294967296ULL)
    local there, its_port = peer_of(socket)
    if there ~= networks.binary(string.gsub(address, "[%[%]]", "")) or its_port ~= port then
        return nil, "its socket does not lead to " .. address .. ":" .. port
    end
    if C.shutdown(socket, BOTH_WAYS) ~= 0 then
        return nil, ffi.string(C.strerror(ffi.errno()))
    end
    return true
end

-- What nginx does when it is told to quit, while it goes on listening: connections that wait for a request are closed,
-- and who speaks HTTP/2 is told (GOAWAY) to send the next ones elsewhere; what is open on such a connection ends first.
-- To be called outside of requests.
function M.say_goodbye()
    C.ngx_close_idle_connections(C.ngx_cycle)
end

return M
