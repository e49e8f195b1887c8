"""The operations of TensorFlow that a served graph may have: those that compute.

TensorFlow has 1900, and among them some that read, write and list files, call Python, open connections, or keep threads
and queues; new ones come with each release. What is not named here is refused.
"""

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Their inputs are the arguments of the function that they name."""

READS = {"RestoreV2": 0, "InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1}
"""Operations that read a file, and which of their inputs names it."""

VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
"""Operations that are variables."""

_FLOW = """
Assert Case CheckNumerics Const ControlTrigger DisableCopyOnRead Enter Exit FakeParam GuaranteeConst Identity IdentityN
If LoopCond Merge NextIteration NoOp Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient RefEnter RefExit
RefIdentity RefMerge RefNextIteration RefSelect RefSwitch Snapshot StatelessCase StatelessIf StatelessWhile StopGradient
Switch While
"""
_STATE = """
Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp HashTable HashTableV2
InitializeTable InitializeTableV2 IsVariableInitialized LookupTableFind LookupTableFindV2 LookupTableImport
LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableSize LookupTableSizeV2 MutableDenseHashTable
MutableDenseHashTableV2 MutableHashTable MutableHashTableOfTensors MutableHashTableOfTensorsV2 MutableHashTableV2
ReadVariableOp ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterNdUpdate ResourceScatterUpdate
ScatterAdd ScatterUpdate VarIsInitializedOp VariableShape
"""
_LISTS = """
EmptyTensorList TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListConcat TensorListConcatLists
TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
TensorListPopBack TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""
_MATHEMATICS = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e Betainc Bincount BitwiseAnd BitwiseOr
BitwiseXor Bucketize Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp
DenseBincount Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 Floor FloorDiv FloorMod Greater
GreaterEqual HistogramFixedWidth Igamma Igammac Imag Inv Invert IsFinite IsInf IsNan L2Loss LeftShift Less LessEqual
Lgamma LinSpace Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg
NextAfter NotEqual Polygamma PopulationCount Pow Prod Range Real RealDiv Reciprocal RightShift Rint Round Rsqrt
SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2 Sigmoid Sign Sin Sinh Sqrt Square
SquaredDifference Sub Sum Tan Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
"""
_ALGEBRA = """
BandedTriangularSolve Cholesky Eig FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D LogMatrixDeterminant Lu
MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs
MatrixSquareRoot MatrixTriangularSolve Qr RFFT RFFT2D RFFT3D SelfAdjointEigV2 Svd TridiagonalMatMul TridiagonalSolve
"""
_SHAPES = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2 ConjugateTranspose
DataFormatDimMap DataFormatVecPermute DepthToSpace Diag DiagPart DynamicPartition DynamicStitch EnsureShape ExpandDims
Fill Gather GatherNd GatherV2 InTopK InTopKV2 InvertPermutation ListDiff LowerBound MirrorPad NthElement OneHot OnesLike
Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape
ShapeN Size Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice TensorScatterAdd
TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile TopK TopKV2
Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""
_LAYERS = """
AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1 BlockLSTM BlockLSTMV2 CTCBeamSearchDecoder
CTCGreedyDecoder Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative Dequantize
Dilation2D Elu FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel FractionalAvgPool
FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell
LRN LSTMBlockCell LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax QuantizeAndDequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 Relu Relu6 Selu Softmax
SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits
"""
_RANDOM = """
Multinomial RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
RngReadAndSkip RngSkip StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt
StatefulUniformInt StatelessMultinomial StatelessRandomBinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform
StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal
"""
_IMAGES = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg
DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DrawBoundingBoxes DrawBoundingBoxesV2 EncodeJpeg EncodePng
ExtractGlimpse ExtractGlimpseV2 ExtractImagePatches ExtractJpegShape ExtractVolumePatches HSVToRGB
ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
ResizeNearestNeighbor ScaleAndTranslate
"""
_TEXT = """
AsString DecodeBase64 DecodeCSV DecodeJSONExample DecodePaddedRaw DecodeRaw EditDistance EncodeBase64 ParseExample
ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample ParseTensor
ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin StringLength
StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast
StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""
_SPARSE = """
DenseCountSparseOutput DenseToDenseSetOperation DenseToSparseSetOperation RaggedBincount RaggedCountSparseOutput
RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant RaggedTensorToSparse
RaggedTensorToTensor RaggedTensorToVariant SetSize SparseAdd SparseBincount SparseConcat SparseCountSparseOutput
SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul
SparseFillEmptyRows SparseMatMul SparseReduceMax SparseReduceSum SparseReorder SparseReshape SparseSegmentMean
SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum
SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax SparseSparseMaximum SparseSparseMinimum SparseSplit
SparseTensorDenseAdd SparseTensorDenseMatMul SparseToDense SparseToSparseSetOperation
"""

_ALL = (_FLOW, _STATE, _LISTS, _MATHEMATICS, _ALGEBRA, _SHAPES, _LAYERS, _RANDOM, _IMAGES, _TEXT, _SPARSE)
COMPUTING = CALLS.union(VARIABLES, *map(str.split, _ALL))
"""Operations that read and change nothing but tensors, variables and tables of their own session."""
