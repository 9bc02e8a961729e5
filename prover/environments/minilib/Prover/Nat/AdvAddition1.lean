prelude
import Prover.Nat.Multiplication5

/-! Cancelling. -/

set_option autoImplicit false
namespace Nat

theorem add_right_cancel {n m k : Nat} (h : n + m = k + m) : n = k := by
  induction m with
  | zero => exact h
  | succ m ih => exact ih (succ.inj' h)

theorem add_left_cancel {n m k : Nat} (h : n + m = n + k) : m = k := by
  rw [add_comm n m, add_comm n k] at h
  exact add_right_cancel h

end Nat
