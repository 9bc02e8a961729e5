prelude
import Prover.Nat.Multiplication4

/-! The multiplication world, finished. -/

set_option autoImplicit false
namespace Nat

theorem add_mul (a b c : Nat) : (a + b) * c = a * c + b * c := by
  rw [mul_comm, mul_add, mul_comm c a, mul_comm c b]

theorem left_distrib (a b c : Nat) : a * (b + c) = a * b + a * c := mul_add a b c
theorem right_distrib (a b c : Nat) : (a + b) * c = a * c + b * c := add_mul a b c

theorem mul_assoc (a b c : Nat) : a * b * c = a * (b * c) := by
  induction c with
  | zero => rfl
  | succ c ih =>
    show a * b * c + a * b = a * (b * c + b)
    rw [mul_add, ih]

theorem mul_left_comm (a b c : Nat) : a * (b * c) = b * (a * c) := by
  rw [← mul_assoc, mul_comm a b, mul_assoc]

end Nat
