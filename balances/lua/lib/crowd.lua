-- Whether a session may begin beside those that are open; twin of balances/model/crowd.py.
local STATE_AND_BEFORE, HEAD = SESSION.state, 3

-- fields: of the account, as HGETALL gives them
local function is_crowded(charge, fields)
  local others, left_out = 0, { [charge[CHARGE.session]] = true }
  for _, id in ipairs(charge[CHARGE.replaces]) do left_out[id] = true end
  for i = 1, #fields, 2 do
    if fields[i] ~= ACCOUNTFIELD.ACCOUNT then
      local _, _, id, subscriber, service, state = cmsgpack.unpack_limit(fields[i + 1], STATE_AND_BEFORE, HEAD)
      local is_of_both = subscriber == charge[CHARGE.subscriber] and service == charge[CHARGE.service]
      if is_of_both and state == SESSIONSTATE.OPEN and not left_out[id] then others = others + 1 end
    end
  end
  return others >= charge[CHARGE.sessions_max]
end
