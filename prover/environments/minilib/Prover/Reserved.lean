prelude
import Prover.Logic

/-!
# Reserved names

The kernel evaluates these functions on literals by its own arithmetic, whatever a definition of that name says: with
`def Nat.gcd (_ _ : Nat) := 1` in a file, `False` has a proof that lists no axiom. So no file that imports this prelude
can define them: the names are taken, by theorems, which compute nothing.

`Nat.add`, `sub`, `mul`, `pred`, `beq`, `ble` are in the same position and are defined truly in `Prover.Foundation`.
-/

theorem Nat.div : True := .intro
theorem Nat.mod : True := .intro
theorem Nat.gcd : True := .intro
theorem Nat.pow : True := .intro
theorem Nat.log2 : True := .intro
theorem Nat.land : True := .intro
theorem Nat.lor : True := .intro
theorem Nat.xor : True := .intro
theorem Nat.shiftLeft : True := .intro
theorem Nat.shiftRight : True := .intro

/-! These two run compiled code inside the kernel. -/

theorem Lean.reduceBool : True := .intro
theorem Lean.reduceNat : True := .intro
