"""Makes what people read of incidents, in their language and zone; imports incident, policy and channels.base."""
