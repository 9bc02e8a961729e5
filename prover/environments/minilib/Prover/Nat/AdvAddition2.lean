prelude
import Prover.Nat.AdvAddition1

/-! The advanced addition world, finished. -/

set_option autoImplicit false
namespace Nat

theorem eq_zero_of_add_eq_right {n m : Nat} (h : n + m = m) : n = 0 := by
  rw [← zero_add m, ← add_assoc, add_zero] at h
  exact add_right_cancel h

theorem eq_zero_of_add_eq_left {n m : Nat} (h : n + m = n) : m = 0 := by
  rw [add_comm] at h
  exact eq_zero_of_add_eq_right h

theorem eq_zero_of_add_eq_zero_left {n m : Nat} (h : n + m = 0) : m = 0 := by
  cases m with
  | zero => rfl
  | succ m => cases h

theorem eq_zero_of_add_eq_zero_right {n m : Nat} (h : n + m = 0) : n = 0 := by
  rw [add_comm] at h
  exact eq_zero_of_add_eq_zero_left h

end Nat
