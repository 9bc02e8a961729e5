prelude
import Prover.Nat.Multiplication2

/-! Multiplication is commutative. -/

set_option autoImplicit false
namespace Nat

theorem mul_comm (n m : Nat) : n * m = m * n := by
  induction m with
  | zero => rw [mul_zero, zero_mul]
  | succ m ih => rw [add_one, mul_succ, succ_mul, ih]

end Nat
