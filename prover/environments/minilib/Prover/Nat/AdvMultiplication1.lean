prelude
import Prover.Nat.Order6

/-! The advanced multiplication world after its fourth level. -/

set_option autoImplicit false
namespace Nat

theorem mul_le_mul_right {n m : Nat} (k : Nat) (h : n ≤ m) : n * k ≤ m * k := by
  obtain ⟨x, e⟩ := exists_of_le h
  rw [← e, add_mul]
  exact le_add_right _ _

theorem mul_left_ne_zero {n m : Nat} (h : n * m ≠ 0) : m ≠ 0 := by
  intro k
  apply h
  rw [k, mul_zero]

theorem exists_eq_succ_of_ne_zero {n : Nat} (h : n ≠ 0) : ∃ k, n = succ k := by
  cases n with
  | zero => exact (h rfl).elim
  | succ n => exact ⟨n, rfl⟩

theorem one_le_of_ne_zero {n : Nat} (h : n ≠ 0) : 1 ≤ n := by
  obtain ⟨k, e⟩ := exists_eq_succ_of_ne_zero h
  rw [e]
  exact succ_le_succ (zero_le k)

end Nat
