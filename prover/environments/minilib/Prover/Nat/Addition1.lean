prelude
import Prover.Nat.Definitions

/-! The addition world after its first level. -/

set_option autoImplicit false
namespace Nat

theorem zero_add (n : Nat) : 0 + n = n := by
  induction n with
  | zero => rfl
  | succ n ih => exact congrArg succ ih

end Nat
