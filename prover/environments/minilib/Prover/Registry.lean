prelude
import Prover.Foundation

/-!
# Registry

How syntax gets into this prelude. Lean's library holds, as compiled code, every parser, macro and unexpander of Lean's
own `Init`; what a file needs in order to use one is a declaration of the right name that carries the right attribute.
So such a declaration is made and marked `extern`: its code is then found in the library by the declaration's name, and
the body given here (`compiled`, `compiledMacro`, `compiledUnexpander`) never runs.

The types below exist so that those declarations can be typed; their names matter to Lean, their constructors to the
compiler only.
-/

set_option autoImplicit false
set_option genCtorIdx false
set_option bootstrap.genMatcherCode false

namespace Lean

inductive Name where
  | anonymous : Name
  | str (pre : Name) (str : String)
  | num (pre : Name) (i : Nat)

inductive ParserDescr where
  | const (name : Name)
  | unary (name : Name) (p : ParserDescr)
  | binary (name : Name) (p₁ p₂ : ParserDescr)
  | node (kind : Name) (prec : Nat) (p : ParserDescr)
  | trailingNode (kind : Name) (prec lhsPrec : Nat) (p : ParserDescr)
  | symbol (val : String)
  | nonReservedSymbol (val : String) (includeIdent : Bool)
  | cat (catName : Name) (rbp : Nat)
  | parser (declName : Name)
  | nodeWithAntiquot (name : String) (kind : Name) (p : ParserDescr)
  | sepBy (p : ParserDescr) (sep : String) (psep : ParserDescr) (allowTrailingSep : Bool)
  | sepBy1 (p : ParserDescr) (sep : String) (psep : ParserDescr) (allowTrailingSep : Bool)
  | unicodeSymbol (val : String) (asciiVal : String) (preserveForPP : Bool)

abbrev TrailingParserDescr : Type := ParserDescr

inductive Syntax : Type where
  | missing : Syntax
  | ident (a b : Nat) : Syntax

/-- Stands for a result of the macro monad. -/
inductive MacroResult : Type where
  | mk (a b : Nat) : MacroResult

abbrev Macro : Type := Syntax → MacroResult → MacroResult → MacroResult
abbrev PrettyPrinter.Unexpander : Type := Syntax → MacroResult → MacroResult → MacroResult

structure Parser.Category

/-! Names as the elaborator writes them when it declares a syntax category. -/

@[extern "x"] def Name.mkStr1 (s0 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr2 (s0 s1 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr3 (s0 s1 s2 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr4 (s0 s1 s2 s3 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr5 (s0 s1 s2 s3 s4 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr6 (s0 s1 s2 s3 s4 s5 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr7 (s0 s1 s2 s3 s4 s5 s6 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkStr8 (s0 s1 s2 s3 s4 s5 s6 s7 : String) : Name := Name.anonymous
@[extern "x"] def Name.mkSimple (s : String) : Name := Name.anonymous

/-! Bodies that never run. -/

abbrev compiled : ParserDescr := ParserDescr.const Name.anonymous
abbrev compiledMacro : Macro := fun _ r _ => r
abbrev compiledUnexpander : PrettyPrinter.Unexpander := fun _ r _ => r

end Lean
