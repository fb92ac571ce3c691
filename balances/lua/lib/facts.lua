-- What the requests of a session told that prices depend on; twin of balances/facts.py, which says how they are packed.
-- @use lib/amount

local facts_merged
do -- a script has room for 200 local names
  -- -1, 0 or 1: of two facts in lists of four values each, which comes first
  local function fact_order(a, i, b, j)
    for part = 0, 2 do
      if a[i + part] ~= b[j + part] then return a[i + part] < b[j + part] and -1 or 1 end
    end
    return 0
  end

  local function add_fact(facts, from, i)
    for part = 0, 3 do facts[#facts + 1] = from[i + part] end
  end

  -- Beyond FACTS_MAX octets those of single lines are not kept.
  local function pack_facts(facts)
    if #facts == 0 then return '' end
    local packed = cmsgpack.pack(facts)
    if #packed <= FACTS_MAX then return packed end
    local whole = {}
    for i = 1, #facts, 4 do
      if facts[i] == WHOLE then add_fact(whole, facts, i) end
    end
    return #whole > 0 and cmsgpack.pack(whole) or ''
  end

  -- What is known once this was told. What is told of the whole session is newer than what one of its lines told.
  function facts_merged(stored, told)
    if told == '' or stored == told then return stored end
    if stored == '' then return told end
    local old, new, merged, whole = cmsgpack.unpack(stored), cmsgpack.unpack(told), {}, {}
    for i = 1, #new, 4 do
      if new[i] == WHOLE then whole[new[i + 2]] = true end
    end
    local at = 1
    for i = 1, #old, 4 do
      local order = at <= #new and fact_order(new, at, old, i) or 1
      while order < 0 do -- bounded: by what is told
        add_fact(merged, new, at)
        at = at + 4
        order = at <= #new and fact_order(new, at, old, i) or 1
      end
      if order ~= 0 and (old[i] == WHOLE or not whole[old[i + 2]]) then add_fact(merged, old, i) end
    end
    for i = at, #new, 4 do add_fact(merged, new, i) end
    return pack_facts(merged)
  end
end
