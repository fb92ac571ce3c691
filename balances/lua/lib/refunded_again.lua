-- A refund of an event that is reversed: what it gave back may be given back again (charging.md 17); twin of
-- balances/model/refunded_again.py.
-- @use lib/account

-- The original as it is after that, packed; nil: nobody knows it any more, or another event has its key. stored: the original, packed, or false; the post
-- may bring it too
local function refundable_again(post, stored)
  local packed = stored or post[POST.original]
  if packed == '' then return nil end
  local paid, refund = cmsgpack.unpack(packed), cmsgpack.unpack(post[POST.refund])
  local name = paid[IDEMPOTENCYRECORD.fingerprint] .. string.format(' %d', paid[IDEMPOTENCYRECORD.end_to_end])
  if refund[IDEMPOTENCYRECORD.terms] ~= name then return nil end
  for place, take in ipairs(refund[IDEMPOTENCYRECORD.takes]) do
    local back = paid[IDEMPOTENCYRECORD.takes][place]
    back[PAIDAMOUNT.amount] = back[PAIDAMOUNT.amount] + take[PAIDAMOUNT.amount]
  end
  for place, count in ipairs(refund[IDEMPOTENCYRECORD.counted]) do
    local back = paid[IDEMPOTENCYRECORD.counted][place]
    back[COUNTERAMOUNT.amount] = back[COUNTERAMOUNT.amount] + count[COUNTERAMOUNT.amount]
  end
  paid[IDEMPOTENCYRECORD.units] = paid[IDEMPOTENCYRECORD.units] + refund[IDEMPOTENCYRECORD.units]
  paid[IDEMPOTENCYRECORD.cost] = paid[IDEMPOTENCYRECORD.cost] + refund[IDEMPOTENCYRECORD.cost]
  return cmsgpack.pack(paid)
end
