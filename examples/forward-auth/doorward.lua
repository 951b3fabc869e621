-- Asks Doorward about each request: what it allows goes on with its identity headers, what it
-- refuses gets its answer.

local verify = "http://127.0.0.1:8080/.doorward/verify/haproxy"
local identity = { "remote-user", "remote-groups", "remote-name", "remote-email" }
local answered = {
  "location", "x-doorward-location", "www-authenticate", "set-cookie", "content-type",
  "cache-control", "retry-after", "content-security-policy", "x-content-type-options",
}

-- Of the client's headers, what is not asked on: what Doorward reads of the front proxy alone, and
-- what belongs to the connection or to the body.
local left_out = {}
for name in ([[
  host content-length transfer-encoding connection keep-alive te trailer upgrade expect forwarded
  x-forwarded-method x-forwarded-proto x-forwarded-host x-forwarded-uri x-forwarded-for
  x-original-method x-original-url x-request-id
]]):gmatch("%S+") do
  left_out[name] = true
end

local function values(lines)
  local found = {}
  for at = 0, 255 do
    if lines[at] == nil then break end
    found[#found + 1] = lines[at]
  end
  return found
end

local function ask(txn)
  local headers = {}
  for name, lines in pairs(txn.http:req_get_headers()) do
    if not left_out[name:lower()] then headers[name] = values(lines) end
  end
  headers["x-forwarded-method"] = { txn.f:method() }
  headers["x-forwarded-proto"] = { "https" }
  headers["x-forwarded-host"] = { txn.f:req_hdr("host") }
  headers["x-forwarded-uri"] = { txn.f:pathq() }
  headers["x-forwarded-for"] = { tostring(txn.f:src()) }
  return core.httpclient():get({ url = verify, headers = headers, timeout = 5000 })
end

core.register_action("doorward", { "http-req" }, function(txn)
  local ok, answer = pcall(ask, txn)
  if not ok or answer == nil or answer.status == nil or answer.status == 0 then
    answer = { status = 503, headers = {}, body = "" }
  end
  if answer.status == 200 then
    for _, name in ipairs(identity) do
      txn.http:req_del_header(name)
      for _, value in ipairs(values(answer.headers[name] or {})) do
        if value ~= "" then txn.http:req_add_header(name, value) end
      end
    end
    return
  end
  local reply = txn:reply({ status = answer.status, body = answer.body or "" })
  for _, name in ipairs(answered) do
    for _, value in ipairs(values(answer.headers[name] or {})) do
      reply:add_header(name, value)
    end
  end
  txn:done(reply)
end)
