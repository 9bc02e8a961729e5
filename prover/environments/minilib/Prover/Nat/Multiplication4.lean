prelude
import Prover.Nat.Multiplication3

/-! Multiplication distributes over addition. -/

set_option autoImplicit false
namespace Nat

theorem one_mul (n : Nat) : 1 * n = n := by rw [mul_comm, mul_one]

theorem two_mul (n : Nat) : 2 * n = n + n := by
  rw [mul_comm]
  show 0 + n + n = n + n
  rw [zero_add]

theorem mul_add (a b c : Nat) : a * (b + c) = a * b + a * c := by
  induction c with
  | zero => rfl
  | succ c ih =>
    show a * (b + c) + a = a * b + (a * c + a)
    rw [ih, add_assoc]

end Nat
