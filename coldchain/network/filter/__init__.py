"""The packet filter: what `decisions.policy` decides as text for nft, and the programs that carry it out.

Here live the rendering of rulesets and of changes to their sets, `nft` and `conntrack`, and the chain that Docker
leaves to others. Not here: who may talk to whom.
"""
