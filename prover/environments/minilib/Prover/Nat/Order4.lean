prelude
import Prover.Nat.Order3

/-! Order is antisymmetric. -/

set_option autoImplicit false
namespace Nat

theorem le_antisymm {a b : Nat} (h : a ≤ b) (k : b ≤ a) : a = b := by
  obtain ⟨x, e⟩ := exists_of_le h
  obtain ⟨y, f⟩ := exists_of_le k
  rw [← e, add_assoc] at f
  rw [← e, eq_zero_of_add_eq_zero_right (eq_zero_of_add_eq_left f), add_zero]

end Nat
