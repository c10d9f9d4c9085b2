"""The provider `manual`: a person pays, and the payout is booked."""
