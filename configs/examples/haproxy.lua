-- Asks Portcullis about a request: the action "portcullis" of haproxy.cfg.

local url = "http://127.0.0.1:7480/authz/forward-auth"
local timeout_ms = 2000

-- What the question is about, and how several fields of a name become one. Nothing else goes along, no body either.
local asked = { ["cookie"] = "; ", ["user-agent"] = ", ", ["accept-language"] = ", ", ["traceparent"] = ", " }
-- Who it is, in the answer. All of them are in every 200.
local identity = { "x-portcullis-tenant", "x-portcullis-user", "x-portcullis-handle", "x-portcullis-expires-at",
  "x-portcullis-signals" }
-- What of a refusal goes to the client, beside status and body.
local told = { "content-type", "cache-control", "retry-after", "www-authenticate" }

-- HTTP client and request have the values of a name from 0 on.
local function joined(values, separator)
  if values == nil then return nil end
  local all = values[0]
  for i = 1, #values do all = all .. separator .. values[i] end
  return all
end

local function answer_client(txn, status, body, headers)
  local reply = txn:reply({ status = status, body = body })
  for name, value in pairs(headers) do reply:add_header(name, value) end
  txn:done(reply)
end

core.register_action("portcullis", { "http-req" }, function(txn)
  local request = txn.http:req_get_headers()
  local question = {}
  -- Absent is sent as empty: the client would add a User-Agent of its own.
  for name, separator in pairs(asked) do question[name] = { [0] = joined(request[name], separator) or "" } end
  -- The connection's peer. Behind another proxy, pass its X-Forwarded-For on as well, and trust both.
  question["x-forwarded-for"] = { [0] = txn.sf:src() }

  local answer = core.httpclient():get({ url = url, headers = question, timeout = timeout_ms })

  if answer == nil or answer.status == nil or answer.status == 0 then
    return answer_client(txn, 503, "", {})
  end
  local function first(name)
    local values = answer.headers and answer.headers[name]
    return values and values[0]
  end
  if answer.status == 200 then
    for _, name in ipairs(identity) do
      local value = first(name)
      if value == nil then return answer_client(txn, 503, "", {}) end
      txn.http:req_set_header(name, value)
    end
    txn:set_var("txn.portcullis", "pass")
    return
  end
  local headers = {}
  for _, name in ipairs(told) do headers[name] = first(name) end
  answer_client(txn, answer.status, answer.body, headers)
end)
