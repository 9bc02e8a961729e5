prelude
import Prover.Nat.Order5

/-! The world of order, finished. -/

set_option autoImplicit false
namespace Nat

theorem add_le_add_right {a b : Nat} (h : a ≤ b) (k : Nat) : a + k ≤ b + k := by
  induction k with
  | zero => exact h
  | succ k ih => exact succ_le_succ ih

theorem add_le_add_left {a b : Nat} (h : a ≤ b) (k : Nat) : k + a ≤ k + b := by
  rw [add_comm k a, add_comm k b]
  exact add_le_add_right h k

theorem add_le_add {a b c d : Nat} (h : a ≤ b) (k : c ≤ d) : a + c ≤ b + d :=
  le_trans (add_le_add_right h c) (add_le_add_left k b)

end Nat
