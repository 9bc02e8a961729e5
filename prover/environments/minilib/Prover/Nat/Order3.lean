prelude
import Prover.Nat.Order2

/-! Order is transitive. -/

set_option autoImplicit false
namespace Nat

theorem le_trans {a b c : Nat} (h : a ≤ b) (k : b ≤ c) : a ≤ c := by
  induction k with
  | refl => exact h
  | step _ ih => exact Nat.le.step ih

theorem eq_zero_of_le_zero {n : Nat} (h : n ≤ 0) : n = 0 := by
  cases h
  rfl

end Nat
