prelude
import Prover.Nat.Implication

/-! The multiplication world after its second level. -/

set_option autoImplicit false
namespace Nat

theorem zero_mul (n : Nat) : 0 * n = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_one, mul_succ, ih]

theorem mul_one (n : Nat) : n * 1 = n := zero_add n

end Nat
