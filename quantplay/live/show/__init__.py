"""`quantplay pilot --live`: play 8 as it happens, in minutes. Only the traffic, the moment of the swap and the smaller limits are set.

traffic.py   who asks what and when, and what users make of an answer; pure
damage.py    the same model with spoiled weights
address.py   an address that stays while what stands behind it changes
servers.py   both arms, the spoiled one and the gateway, as processes that end with this one
users.py     the users: ask, read, react
story.py     what happened, as it is shown and drawn
show.py      release, traffic, looks of the judge, swap, rollback
picture.py   all of it in one picture
"""
