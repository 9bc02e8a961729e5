prelude
import Prover.Nat.Addition3

/-! The addition world, finished. -/

set_option autoImplicit false
namespace Nat

theorem add_left_comm (n m k : Nat) : n + (m + k) = m + (n + k) := by
  rw [← add_assoc, add_comm n m, add_assoc]

theorem add_right_comm (n m k : Nat) : n + m + k = n + k + m := by
  rw [add_assoc, add_comm m k, add_assoc]

end Nat
