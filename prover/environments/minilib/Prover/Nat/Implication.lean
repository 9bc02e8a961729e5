prelude
import Prover.Nat.Addition4

/-! What the implication world gives: successors are equal only if their numbers are, and none is zero. -/

set_option autoImplicit false
namespace Nat

theorem succ.inj' {m n : Nat} (h : succ m = succ n) : m = n := by injection h
theorem succ_ne_zero (n : Nat) : succ n ≠ 0 := by intro h; cases h

end Nat
