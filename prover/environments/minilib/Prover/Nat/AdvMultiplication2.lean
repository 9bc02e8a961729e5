prelude
import Prover.Nat.AdvMultiplication1

/-! The advanced multiplication world after its seventh level. -/

set_option autoImplicit false
namespace Nat

theorem le_mul_right_of_ne_zero {n m : Nat} (h : n * m ≠ 0) : n ≤ n * m := by
  obtain ⟨k, e⟩ := exists_eq_succ_of_ne_zero (mul_left_ne_zero h)
  rw [e, mul_succ]
  exact le_add_left n (n * k)

theorem mul_ne_zero {n m : Nat} (h : n ≠ 0) (k : m ≠ 0) : n * m ≠ 0 := by
  obtain ⟨x, e⟩ := exists_eq_succ_of_ne_zero h
  obtain ⟨y, f⟩ := exists_eq_succ_of_ne_zero k
  rw [e, f]
  exact succ_ne_zero _

theorem eq_zero_of_mul_eq_zero {n m : Nat} (h : n * m = 0) : n = 0 ∨ m = 0 := by
  cases n with
  | zero => exact .inl rfl
  | succ n =>
    cases m with
    | zero => exact .inr rfl
    | succ m => cases h

end Nat
