-- libmodsecurity by its C interface: the core rules are read once, in nginx's master, and every set of rules that a
-- route asks for is put together from them in a moment, without reading or reloading anything.
--
-- nginx's own ModSecurity module would not do: it takes rules from nginx's files alone, knows no exclusion that is
-- named at run time, tells nobody which rules matched, and writes what consumers sent into the error log.

local ffi = require "ffi"

ffi.cdef [[
typedef struct ModSecurity ModSecurity;
typedef struct RulesSet RulesSet;
typedef struct Transaction Transaction;
typedef struct { int status; int pause; char *url; char *log; int disruptive; } ModSecurityIntervention;
ModSecurity *msc_init(void);
void msc_set_log_cb(ModSecurity *, void (*)(void *, const void *));
RulesSet *msc_create_rules_set(void);
int msc_rules_add(RulesSet *, const char *, const char **);
int msc_rules_merge(RulesSet *, RulesSet *, const char **);
int msc_rules_cleanup(RulesSet *);
Transaction *msc_new_transaction(ModSecurity *, RulesSet *, void *);
int msc_process_connection(Transaction *, const char *, int, const char *, int);
int msc_process_uri(Transaction *, const char *, const char *, const char *);
int msc_add_n_request_header(Transaction *, const char *, size_t, const char *, size_t);
int msc_process_request_headers(Transaction *);
int msc_append_request_body(Transaction *, const char *, size_t);
int msc_process_request_body(Transaction *);
int msc_intervention(Transaction *, ModSecurityIntervention *);
void msc_transaction_cleanup(Transaction *);
long labs(long);
void free(void *);
]]

local C = ffi.C
local library, engine
local parts = {}  -- name of a part of the core rules → its rules

local M = {}

-- Some regular expressions of the core rules take time that grows with the cube of what they look at: a line of 4 kB
-- would hold up a worker for ten seconds. libmodsecurity 3.0.9 has no limit that works, PCRE takes one in the expression.
local STEPS_MAX = "(*LIMIT_MATCH=1000)"

local function check(status, problem)
    if status < 0 then
        error(problem[0] ~= nil and ffi.string(problem[0]) or "ModSecurity does not say why", 0)
    end
end

local function new_rules()
    return ffi.gc(library.msc_create_rules_set(), library.msc_rules_cleanup)
end

-- The text of a file of core rules, with a limit in each regular expression, and lists of words by their whole path.
local function text_of(folder, file)
    local opened = assert(io.open(folder .. "/" .. file, "r"))
    local text = opened:read("*a")
    opened:close()
    text = string.gsub(text, '("!?@rx )', "%1" .. STEPS_MAX)
    return (string.gsub(text, "(@pmFromFile )(%l)", function(operator, name)
        return operator .. folder .. "/" .. name
    end))
end

-- Reads the core rules. `options`: library (path), rules (folder); `names`: name → beginning of the names of its file.
-- Raises what is wrong with them.
function M.init(options, names)
    library = ffi.load(options.library)
    engine = library.msc_init()
    -- Rules that look for several matches would write what they found to standard error. Nobody wants to know: this
    -- function of the C library changes nothing, whatever it is given.
    library.msc_set_log_cb(engine, ffi.cast("void (*)(void *, const void *)", C.labs))
    local problem = ffi.new("const char *[1]")
    for name, file in pairs(names) do
        local rules = new_rules()
        check(library.msc_rules_add(rules, text_of(options.rules, file), problem), problem)
        parts[name] = rules
    end
end

function M.ready()
    return engine ~= nil
end

-- Rules of these parts, in this order, between two texts. They go when nobody has them any more.
function M.compile(before, names, after)
    local problem = ffi.new("const char *[1]")
    local rules, last = new_rules(), new_rules()
    check(library.msc_rules_add(rules, before, problem), problem)
    check(library.msc_rules_add(last, after, problem), problem)
    for _, name in ipairs(names) do
        check(library.msc_rules_merge(rules, parts[name], problem), problem)
    end
    check(library.msc_rules_merge(rules, last, problem), problem)
    return rules
end

local intervention = ffi.new("ModSecurityIntervention")

-- What a rule had to say that ended the request; nil for none.
local function said(transaction)
    intervention.status, intervention.pause, intervention.disruptive = 200, 0, 0
    intervention.url, intervention.log = nil, nil
    if library.msc_intervention(transaction, intervention) == 0 then
        return nil
    end
    local url = intervention.url ~= nil and ffi.string(intervention.url) or ""
    C.free(intervention.url)
    C.free(intervention.log)
    return url
end

local function add_header(transaction, name, value)
    library.msc_add_n_request_header(transaction, name, #name, value, #value)
end

local function process(transaction, request)
    library.msc_process_connection(transaction, request.client, request.client_port, request.server, request.port)
    library.msc_process_uri(transaction, request.uri, request.method, request.version)
    for name, value in pairs(request.headers) do
        if type(value) == "table" then
            for _, one in ipairs(value) do
                add_header(transaction, name, tostring(one))
            end
        else
            add_header(transaction, name, tostring(value))
        end
    end
    library.msc_process_request_headers(transaction)
    local answer = said(transaction)
    if answer then
        return answer
    end
    if request.body and request.body ~= "" then
        library.msc_append_request_body(transaction, request.body, #request.body)
    end
    library.msc_process_request_body(transaction)
    return said(transaction)
end

-- Asks the rules about a request: client, client_port, server, port, uri, method, version, headers, body. Returns the
-- address to which a rule redirects it: how rules here say what they found.
function M.ask(rules, request)
    local transaction = library.msc_new_transaction(engine, rules, nil)
    local done, answer = pcall(process, transaction, request)
    library.msc_transaction_cleanup(transaction)
    if not done then
        error(answer, 0)
    end
    return answer
end

return M
