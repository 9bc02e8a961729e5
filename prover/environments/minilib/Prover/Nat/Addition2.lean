prelude
import Prover.Nat.Addition1

/-! The addition world after its second level. -/

set_option autoImplicit false
namespace Nat

theorem succ_add (n m : Nat) : succ n + m = succ (n + m) := by
  induction m with
  | zero => rfl
  | succ m ih => exact congrArg succ ih

end Nat
