prelude
import Prover.Nat.Order1

/-! The first levels of the world of order. -/

set_option autoImplicit false
namespace Nat

theorem le_refl (n : Nat) : n ≤ n := Nat.le.refl
theorem le_succ (n : Nat) : n ≤ succ n := Nat.le.step Nat.le.refl

theorem zero_le (n : Nat) : 0 ≤ n := by
  induction n with
  | zero => exact Nat.le.refl
  | succ n ih => exact Nat.le.step ih

theorem le_add_left (n k : Nat) : n ≤ k + n := by
  rw [add_comm]
  exact le_add_right n k

end Nat
